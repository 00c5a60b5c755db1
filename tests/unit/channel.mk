# SPDX-License-Identifier: LGPL-2.1-or-later
channel_fake = tests/unit/channel_fake.c tests/unit/channel_fake.h
channel_libs = libchannel.a libhost.a $(HOST_LIBS)

check_PROGRAMS += tests/unit/channel_chan
tests_unit_channel_chan_SOURCES = tests/unit/channel_chan.c $(channel_fake)
tests_unit_channel_chan_LDADD = $(channel_libs)

channel_tests = tests/unit/channel_chan
TESTS += $(channel_tests)
