# SPDX-License-Identifier: LGPL-2.1-or-later
channel_fake = tests/unit/channel_fake.c tests/unit/channel_fake.h \
	tests/unit/channel_rig.h
channel_libs = libchannel.a libhost.a $(HOST_LIBS)

channel_programs = tests/unit/channel_alloc tests/unit/channel_bad tests/unit/channel_buffers \
	tests/unit/channel_chan tests/unit/channel_life \
	tests/unit/channel_decode tests/unit/channel_inflight \
	tests/unit/channel_lent \
	tests/unit/channel_recover tests/unit/channel_retable \
	tests/unit/channel_ring \
	tests/unit/channel_scramble tests/unit/channel_stored \
	tests/unit/channel_sweep \
	tests/unit/channel_throttle \
	tests/unit/channel_validate tests/unit/channel_validate_enum
check_PROGRAMS += $(channel_programs)
TESTS += $(channel_programs)

tests_unit_channel_bad_SOURCES = tests/unit/channel_bad.c $(channel_fake)
tests_unit_channel_bad_LDADD = $(channel_libs)
tests_unit_channel_alloc_SOURCES = tests/unit/channel_alloc.c $(channel_fake)
tests_unit_channel_alloc_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=calloc \
	-Wl,--wrap=realloc -Wl,--wrap=host_memory
tests_unit_channel_alloc_LDADD = $(channel_libs)
tests_unit_channel_buffers_SOURCES = tests/unit/channel_buffers.c \
	$(channel_fake)
tests_unit_channel_buffers_LDADD = $(channel_libs)
tests_unit_channel_chan_SOURCES = tests/unit/channel_chan.c $(channel_fake)
tests_unit_channel_chan_LDADD = $(channel_libs)
tests_unit_channel_decode_SOURCES = tests/unit/channel_decode.c
tests_unit_channel_decode_LDADD = $(channel_libs)
tests_unit_channel_inflight_SOURCES = tests/unit/channel_inflight.c
tests_unit_channel_inflight_LDADD = $(channel_libs)
tests_unit_channel_life_SOURCES = tests/unit/channel_life.c $(channel_fake)
tests_unit_channel_life_LDADD = $(channel_libs)
tests_unit_channel_lent_SOURCES = tests/unit/channel_lent.c $(channel_fake)
tests_unit_channel_lent_LDADD = $(channel_libs)
channel_model = tests/unit/channel_model.h $(channel_fake)
tests_unit_channel_recover_SOURCES = tests/unit/channel_recover.c \
	$(channel_model)
tests_unit_channel_recover_LDADD = $(channel_libs)
tests_unit_channel_retable_SOURCES = tests/unit/channel_retable.c \
	$(channel_model)
tests_unit_channel_retable_LDADD = $(channel_libs)
tests_unit_channel_ring_SOURCES = tests/unit/channel_ring.c
tests_unit_channel_ring_LDADD = $(channel_libs)
tests_unit_channel_stored_SOURCES = tests/unit/channel_stored.c \
	$(channel_model)
tests_unit_channel_stored_LDADD = $(channel_libs)
# The whole channel once more, with an accessor that spoils what it read.
tests_unit_channel_scramble_SOURCES = tests/unit/channel_scramble.c \
	$(channel_fake) $(libchannel_a_SOURCES)
tests_unit_channel_scramble_CPPFLAGS = $(AM_CPPFLAGS) -DCHANNEL_SCRAMBLE
tests_unit_channel_scramble_LDADD = libhost.a $(HOST_LIBS)
tests_unit_channel_sweep_SOURCES = tests/unit/channel_sweep.c $(channel_fake)
tests_unit_channel_sweep_LDADD = $(channel_libs)
tests_unit_channel_throttle_SOURCES = tests/unit/channel_throttle.c \
	$(channel_fake)
tests_unit_channel_throttle_LDADD = $(channel_libs)
tests_unit_channel_validate_SOURCES = tests/unit/channel_validate.c
tests_unit_channel_validate_LDADD = $(channel_libs)
tests_unit_channel_validate_enum_SOURCES = \
	tests/unit/channel_validate_enum.c tests/unit/channel_oracle.c \
	tests/unit/channel_oracle.h
tests_unit_channel_validate_enum_LDADD = $(channel_libs)
