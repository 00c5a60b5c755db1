# SPDX-License-Identifier: LGPL-2.1-or-later
sbin_PROGRAMS += blktapd
blktapd_SOURCES = src/main.c src/daemon.c src/daemon.h src/privileges.c \
	src/notify.c src/reload.c src/seccomp.c src/seccomp_table.h \
	src/lastconf.c src/lastconf.h src/conffile.c src/conffile.h \
	src/folder.c src/folder.h \
	src/live.c src/snapshot.c src/commit.c src/keep.c src/keep.h \
	src/scratch.c src/scratch.h
blktapd_LDADD = libcontrol.a libfront.a libringclient.la libxenbus.a libdisk.a libchannel.a \
	libblkconfig.a libchain.a libhost.a $(XEN_LIBS) $(URING_LIBS) $(CONFIG_LIBS) $(JSON_LIBS) \
	$(SYSTEMD_LIBS) $(SECCOMP_LIBS) $(EV_LIBS) -ldl -lpthread
# Modules find the functions of plugin.h in the daemon.
blktapd_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--dynamic-list=$(top_srcdir)/src/chain/plugin.syms
EXTRA_DIST += src/chain/plugin.syms
include tests/sim/daemon.mk
include tests/unit/daemon.mk

check_PROGRAMS += tests/unit/daemon_seccomp
TESTS += tests/unit/daemon_seccomp
tests_unit_daemon_seccomp_SOURCES = tests/unit/daemon_seccomp.c \
	src/seccomp.c src/seccomp_table.h
tests_unit_daemon_seccomp_LDADD = $(SECCOMP_LIBS) -lpthread
dist_check_SCRIPTS += tests/functional/daemon_sandbox \
	tests/functional/daemon_tables
TESTS += tests/functional/daemon_sandbox tests/functional/daemon_tables
