# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_HEADERS += src/host/host.h

noinst_LIBRARIES += libhost.a
libhost_a_SOURCES = src/host/loop.c

# What a program that uses libhost.a links to.
HOST_LIBS = $(EV_LIBS) $(URING_LIBS) $(XEN_LIBS) $(SYSTEMD_LIBS) -lpthread

include tests/unit/host.mk
