# SPDX-License-Identifier: LGPL-2.1-or-later
bin_PROGRAMS += blktapctl
noinst_LIBRARIES += libctl.a
noinst_HEADERS += src/ctl/ctl.h src/ctl/table.h src/ctl/human.h \
	src/ctl/copy.h src/ctl/map.h src/ctl/latency.h src/ctl/way.h

# All but main, for the tests.
libctl_a_SOURCES = src/ctl/call.c src/ctl/look.c src/ctl/watch.c \
	src/ctl/act.c src/ctl/copy.c src/ctl/copy_end.c src/ctl/bench.c \
	src/ctl/latency.c src/ctl/table.c src/ctl/human.c src/control/near.c \
	src/ctl/interpose.c src/ctl/hook.c src/ctl/way.c src/ctl/map.c
blktapctl_SOURCES = src/ctl/main.c
blktapctl_LDADD = libctl.a libxenbus.a libblkconfig.a libhost.a libblktap.la \
	libwire.la $(HOST_LIBS) $(CONFIG_LIBS) $(JSON_LIBS) -lm

include tests/unit/ctl.mk

dist_man_MANS += man/blktapctl.1

# Bash looks for a file of the command's name.
EXTRA_DIST += conf/blktapctl.bash
nodist_bashcomp_DATA = conf/blktapctl
CLEANFILES += conf/blktapctl
conf/blktapctl: conf/blktapctl.bash
	$(AM_V_GEN)$(MKDIR_P) conf && cp $(srcdir)/conf/blktapctl.bash $@
