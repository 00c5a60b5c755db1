# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_LIBRARIES += libcontrol.a
noinst_HEADERS += src/control/control.h src/control/commands.h \
	src/control/private.h src/control/near.h \
	src/control/commands_private.h
libcontrol_a_SOURCES = src/control/server.c src/control/client.c \
	src/control/parse.c src/control/command.c src/control/events.c \
	src/control/near.c src/control/commands.c \
	src/control/commands_look.c src/control/plugins.c src/control/chain.c \
	src/control/map.c

include tests/unit/control.mk
