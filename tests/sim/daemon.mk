# SPDX-License-Identifier: LGPL-2.1-or-later
# The whole daemon in a simulated world.  Its objects are the shipping ones;
# what they ask of the C library is renamed, so that a killed daemon's memory
# can be taken back, and counted: see tests/sim/alloc.h.
DAEMON_OBJECTS = libcontrol.a libxenbus.a libdisk.a libchannel.a libblkconfig.a libchain.a \
	plugins/libplugins_static.a plugins/libqcow2_static.a \
	plugins/libnbd_static.a
if HAVE_CRYPT
DAEMON_OBJECTS += plugins/libcrypt_static.a
endif
tests/sim/daemon/libdaemon_tracked.a: $(DAEMON_OBJECTS) tests/sim/alloc.syms
	$(AM_V_GEN)$(MKDIR_P) tests/sim/daemon/tracked && \
	rm -f $@ tests/sim/daemon/tracked/* && \
	for l in $(DAEMON_OBJECTS); do \
		n=`basename $$l .a` && \
		objcopy --redefine-syms=$(srcdir)/tests/sim/alloc.syms $$l \
			tests/sim/daemon/tracked/$$n.a || exit 1; \
	done && \
	( echo "create $@"; \
	  for l in tests/sim/daemon/tracked/*.a; do echo "addlib $$l"; done; \
	  echo save; echo end ) | $(AR) -M
CLEANFILES += tests/sim/daemon/libdaemon_tracked.a tests/sim/daemon/tracked/*.a
EXTRA_DIST += tests/sim/alloc.syms
noinst_HEADERS += tests/sim/alloc.h tests/sim/daemon/world.h \
	tests/sim/daemon/points.h tests/sim/daemon/guest.h \
	tests/sim/daemon/guest_private.h tests/sim/daemon/hostile.h \
	tests/sim/daemon/record.h tests/sim/daemon/plan.h \
	tests/sim/daemon/peer.h tests/sim/daemon/scene.h \
	tests/sim/daemon/tally.h tests/sim/daemon/medium.h \
	tests/sim/daemon/sealed.h

# The rig: for every test that wants a whole daemon.
daemon_rig = tests/sim/alloc.c tests/sim/daemon/world.c \
	tests/sim/daemon/points.c tests/sim/daemon/guest.c \
	tests/sim/daemon/guest_bus.c tests/sim/daemon/record.c tests/sim/history.c \
	tests/sim/daemon/peer.c tests/sim/daemon/world_scratch.c
daemon_rig_wraps = -Wl,--wrap=ring_take -Wl,--wrap=ring_respond \
	-Wl,--wrap=ring_publish -Wl,--wrap=inflight_note \
	-Wl,--wrap=inflight_answer -Wl,--wrap=inflight_drop \
	-Wl,--wrap=inflight_free -Wl,--wrap=inflight_mark
daemon_rig_ldflags = $(AM_LDFLAGS) $(daemon_rig_wraps) \
	-Wl,-u,blk_plugins_static -Wl,--wrap=blk_plugins_static
daemon_rig_libs = tests/sim/daemon/libdaemon_tracked.a \
	libhost.a $(HOST_LIBS) $(CONFIG_LIBS) $(JSON_LIBS) -ldl -lm

check_PROGRAMS += tests/sim/daemon/blktapd-sim
tests_sim_daemon_blktapd_sim_SOURCES = tests/sim/daemon/main.c \
	tests/sim/daemon/plan.c tests/sim/daemon/scene.c \
	tests/sim/daemon/medium.c tests/sim/daemon/hostile.c \
	tests/sim/nbd_fake.c tests/sim/qcow2_image.c $(daemon_rig)
if HAVE_CRYPT
tests_sim_daemon_blktapd_sim_SOURCES += tests/sim/daemon/sealed.c
else
tests_sim_daemon_blktapd_sim_SOURCES += tests/sim/daemon/sealed_not.c
endif
tests_sim_daemon_blktapd_sim_CFLAGS = $(CRYPT_CFLAGS) $(NBD_CFLAGS) $(AM_CFLAGS)
tests_sim_daemon_blktapd_sim_LDFLAGS = $(daemon_rig_ldflags)
tests_sim_daemon_blktapd_sim_LDADD = $(daemon_rig_libs) $(CRYPT_LIBS) \
	$(ZLIB_LIBS) $(ZSTD_LIBS)

daemon_sims = tests/sim/daemon.test tests/sim/daemon-steps.test \
	tests/sim/daemon-same.test
dist_check_SCRIPTS += $(daemon_sims)
TESTS += $(daemon_sims)

check_PROGRAMS += tests/sim/isolation
TESTS += tests/sim/isolation
tests_sim_isolation_SOURCES = tests/sim/isolation.c $(daemon_rig)
tests_sim_isolation_LDFLAGS = $(daemon_rig_ldflags)
tests_sim_isolation_LDADD = $(daemon_rig_libs)
