# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_HEADERS += src/xenbus/xenbus.h
noinst_LIBRARIES += libxenbus.a
libxenbus_a_SOURCES = src/xenbus/states.c src/xenbus/states.h \
	src/xenbus/node.c src/xenbus/node.h src/xenbus/read.c \
	src/xenbus/read.h src/xenbus/vbd.c src/xenbus/vbd.h \
	src/xenbus/attachment.c src/xenbus/claim.c src/xenbus/publish.c src/xenbus/error.c \
	src/xenbus/medium.c src/xenbus/link.c src/xenbus/resume.c src/xenbus/xenbus.c \
	src/xenbus/discover.c src/xenbus/attach.c src/xenbus/list.c \
	src/xenbus/pair.c src/xenbus/pair.h src/xenbus/interpose.c src/xenbus/hook.c \
	src/xenbus/hook_move.c \
	src/xenbus/interpose.h src/xenbus/lower.h

include tests/unit/xenbus.mk
