# SPDX-License-Identifier: LGPL-2.1-or-later
check_PROGRAMS += tests/unit/control_socket
TESTS += tests/unit/control_socket
tests_unit_control_socket_SOURCES = tests/unit/control_socket.c \
	tests/unit/control_loop.h
tests_unit_control_socket_LDADD = libcontrol.a libhost.a $(JSON_LIBS) \
	$(HOST_LIBS)
