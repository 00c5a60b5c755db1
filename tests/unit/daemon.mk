# SPDX-License-Identifier: LGPL-2.1-or-later
daemon_unit_tests = tests/unit/daemon_reload tests/unit/daemon_lastconf \
	tests/unit/daemon_keep tests/unit/daemon_scratch
check_PROGRAMS += $(daemon_unit_tests)
TESTS += $(daemon_unit_tests)
tests_unit_daemon_reload_SOURCES = tests/unit/daemon_reload.c src/reload.c
tests_unit_daemon_reload_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=calloc
tests_unit_daemon_lastconf_SOURCES = tests/unit/daemon_lastconf.c \
	src/lastconf.c src/conffile.c src/folder.c
tests_unit_daemon_lastconf_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=fdopen,--wrap=fsync
tests_unit_daemon_keep_SOURCES = tests/unit/daemon_keep.c src/privileges.c \
	src/folder.c
tests_unit_daemon_scratch_SOURCES = tests/unit/daemon_scratch.c src/folder.c
tests_unit_daemon_scratch_LDADD = libhost.a $(HOST_LIBS)

check_PROGRAMS += tests/functional/isolation_load
tests_functional_isolation_load_LDADD = libblktap.la
dist_check_SCRIPTS += tests/functional/isolation
TESTS += tests/functional/isolation

check_PROGRAMS += tests/unit/daemon_commit
TESTS += tests/unit/daemon_commit
tests_unit_daemon_commit_SOURCES = tests/unit/daemon_commit.c \
	tests/unit/daemon_commit.h
tests_unit_daemon_commit_LDADD = $(JSON_LIBS)

check_PROGRAMS += tests/unit/daemon_snapshot
TESTS += tests/unit/daemon_snapshot
tests_unit_daemon_snapshot_SOURCES = tests/unit/daemon_snapshot.c \
	plugins/qcow2/blank.c plugins/qcow2/format.h
tests_unit_daemon_snapshot_LDADD = plugins/libqcow2_static.a $(JSON_LIBS)
