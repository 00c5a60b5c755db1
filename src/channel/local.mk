# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_LIBRARIES += libchannel.a
libchannel_a_SOURCES = src/channel/blkif.h src/channel/buffers.c \
	src/channel/buffers.h src/channel/chan.c src/channel/chan.h \
	src/channel/decode.c src/channel/inflight.c src/channel/inflight.h \
	src/channel/internal.h src/channel/move.c src/channel/queue.c \
	src/channel/req.c src/channel/ring.c src/channel/ring.h \
	src/channel/shm.h src/channel/sweep.c src/channel/throttle.c \
	src/channel/validate.c \
	src/channel/validate.h src/seeded.h

include tests/unit/channel.mk
include tests/fuzz/channel.mk
