# SPDX-License-Identifier: LGPL-2.1-or-later
check_PROGRAMS += tests/unit/control_socket
TESTS += tests/unit/control_socket
tests_unit_control_socket_SOURCES = tests/unit/control_socket.c \
	tests/unit/control_loop.h
tests_unit_control_socket_LDADD = libcontrol.a libhost.a $(JSON_LIBS) \
	$(HOST_LIBS)

dist_check_SCRIPTS += tests/fuzz/control.test
TESTS += tests/fuzz/control.test
if HAVE_FUZZ_CC
FUZZ_TARGETS += tests/fuzz/control.fuzz
tests/fuzz/control.fuzz: tests/fuzz/control.c tests/unit/control_loop.h \
		src/control/private.h src/control/server.c \
		src/control/client.c src/control/parse.c \
		src/control/command.c src/control/events.c \
		src/control/near.c src/host/loop.c
	$(FUZZ_BUILD) $(filter %.c,$^) $(JSON_LIBS)
tests/fuzz/control.log: tests/fuzz/control.fuzz
CLEANFILES += tests/fuzz/control.fuzz
endif
EXTRA_DIST += tests/fuzz/control.c tests/fuzz/corpus/control

check_PROGRAMS += tests/unit/control_local
TESTS += tests/unit/control_local
tests_unit_control_local_LDADD = libcontrol.a libchain.a libhost.a \
	$(JSON_LIBS) $(HOST_LIBS) -ldl

check_PROGRAMS += tests/unit/control_commands
TESTS += tests/unit/control_commands
tests_unit_control_commands_LDADD = libcontrol.a libchain.a libhost.a \
	$(JSON_LIBS) $(HOST_LIBS)
