# SPDX-License-Identifier: LGPL-2.1-or-later
xenbus_unit_tests = tests/unit/xenbus_states tests/unit/xenbus_fronts \
	tests/unit/xenbus_life tests/unit/xenbus_nodes \
	tests/unit/xenbus_storm tests/unit/xenbus_attach \
	tests/unit/xenbus_resume tests/unit/xenbus_interpose \
	tests/unit/xenbus_attachment
check_PROGRAMS += $(xenbus_unit_tests)
TESTS += $(xenbus_unit_tests)
xenbus_fakes = tests/unit/xenbus_fakes.c tests/unit/xenbus_fakes.h \
	tests/unit/xenbus_kit.c tests/unit/xenbus_kit.h \
	tests/unit/fake_disk.c tests/unit/fake_disk.h
xenbus_fakes_libs = libxenbus.a libblkconfig.a libhost.a $(HOST_LIBS) \
	$(CONFIG_LIBS) $(JSON_LIBS) -lm

tests_unit_xenbus_states_LDADD = libxenbus.a
tests_unit_xenbus_fronts_SOURCES = tests/unit/xenbus_fronts.c $(xenbus_fakes)
tests_unit_xenbus_fronts_LDADD = $(xenbus_fakes_libs)
tests_unit_xenbus_life_SOURCES = tests/unit/xenbus_life.c $(xenbus_fakes)
tests_unit_xenbus_life_LDADD = $(xenbus_fakes_libs)
tests_unit_xenbus_nodes_SOURCES = tests/unit/xenbus_nodes.c $(xenbus_fakes)
tests_unit_xenbus_nodes_LDADD = $(xenbus_fakes_libs)
tests_unit_xenbus_storm_SOURCES = tests/unit/xenbus_storm.c $(xenbus_fakes)
tests_unit_xenbus_storm_LDADD = $(xenbus_fakes_libs)
tests_unit_xenbus_attach_SOURCES = tests/unit/xenbus_attach.c $(xenbus_fakes)
tests_unit_xenbus_attach_LDADD = $(xenbus_fakes_libs)
tests_unit_xenbus_interpose_SOURCES = tests/unit/xenbus_interpose.c \
	$(xenbus_fakes)
tests_unit_xenbus_interpose_LDADD = $(xenbus_fakes_libs)
tests_unit_xenbus_attachment_SOURCES = tests/unit/xenbus_attachment.c \
	$(xenbus_fakes)
tests_unit_xenbus_attachment_LDADD = $(xenbus_fakes_libs)
tests_unit_xenbus_resume_SOURCES = tests/unit/xenbus_resume.c $(xenbus_fakes)
tests_unit_xenbus_resume_LDADD = $(xenbus_fakes_libs)

check_PROGRAMS += tests/functional/xenbus_store
TESTS += tests/functional/xenbus_store
tests_functional_xenbus_store_SOURCES = tests/functional/xenbus_store.c \
	tests/unit/fake_disk.c tests/unit/fake_disk.h
tests_functional_xenbus_store_CPPFLAGS = $(AM_CPPFLAGS) \
	-DXENSTORED_SHIM='"$(XENSTORED_SHIM)"'
tests_functional_xenbus_store_LDADD = $(xenbus_fakes_libs)

dist_check_SCRIPTS += tests/fuzz/xenstore.test
TESTS += tests/fuzz/xenstore.test
if HAVE_FUZZ_CC
FUZZ_TARGETS += tests/fuzz/xenstore.fuzz
tests/fuzz/xenstore.fuzz: tests/fuzz/xenstore.c src/xenbus/read.c \
		src/xenbus/node.c src/xenbus/states.c
	$(FUZZ_BUILD) $(filter %.c,$^)
tests/fuzz/xenstore.log: tests/fuzz/xenstore.fuzz
endif
EXTRA_DIST += tests/fuzz/xenstore.c tests/fuzz/corpus/xenstore
