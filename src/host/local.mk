# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_HEADERS += src/host/host.h src/host/sim.h

noinst_LIBRARIES += libhost.a
libhost_a_SOURCES = src/host/loop.c src/host/log.c src/host/memory.c \
	src/host/secret.c src/host/kernel.c \
	src/host/posix.h src/host/posix_loop.c src/host/posix_work.c \
	src/host/posix_file.c src/host/posix_info.c src/host/posix_io.c \
	src/host/posix_uring.c src/host/local_share.c src/host/local_tap.c \
	src/host/xen_ports.h src/host/xen_ports.c src/host/xen_tap.c \
	src/host/xen_gate.c src/host/xen_store.c \
	src/host/sim_world.h src/host/sim.c src/host/sim_loop.c \
	src/host/sim_image.h src/host/sim_image.c src/host/sim_file.h \
	src/host/sim_file.c src/host/sim_io.c src/host/sim_record.c \
	src/host/sim_tree.h src/host/sim_tree.c src/host/sim_store.h \
	src/host/sim_store.c src/host/sim_tx.c src/host/sim_watch.c \
	src/host/sim_tap.h src/host/sim_tap.c src/host/sim_grant.c \
	src/host/sim_gate.c

# What a program that uses libhost.a links to.
HOST_LIBS = $(EV_LIBS) $(URING_LIBS) $(XEN_LIBS) $(SYSTEMD_LIBS) -lpthread

include tests/unit/host.mk
