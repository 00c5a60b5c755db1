# SPDX-License-Identifier: LGPL-2.1-or-later
disk_kit = tests/unit/disk_fakes.c tests/unit/disk_fakes.h \
	tests/unit/disk_kit.c tests/unit/disk_kit.h
disk_libs = libdisk.a libhost.a $(JSON_LIBS)

disk_programs = tests/unit/disk_jobs tests/unit/disk_look \
	tests/unit/disk_mend tests/unit/disk_tables tests/unit/disk_reload \
	tests/unit/disk_keys
check_PROGRAMS += $(disk_programs)
TESTS += $(disk_programs)

tests_unit_disk_jobs_SOURCES = tests/unit/disk_jobs.c $(disk_kit)
tests_unit_disk_jobs_LDADD = $(disk_libs)
tests_unit_disk_look_SOURCES = tests/unit/disk_look.c $(disk_kit)
tests_unit_disk_look_LDADD = $(disk_libs)
tests_unit_disk_mend_SOURCES = tests/unit/disk_mend.c $(disk_kit)
tests_unit_disk_mend_LDADD = $(disk_libs)
tests_unit_disk_tables_SOURCES = tests/unit/disk_tables.c $(disk_kit)
tests_unit_disk_tables_LDADD = $(disk_libs)
tests_unit_disk_reload_SOURCES = tests/unit/disk_reload.c $(disk_kit)
tests_unit_disk_reload_LDADD = $(disk_libs)
tests_unit_disk_reload_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=calloc
tests_unit_disk_keys_SOURCES = tests/unit/disk_keys.c tests/unit/locked.h
tests_unit_disk_keys_LDADD = libhost.a $(HOST_LIBS)
