# SPDX-License-Identifier: LGPL-2.1-or-later
dist_check_SCRIPTS += tests/fuzz/run tests/fuzz/ring.test \
	tests/fuzz/inflight.test
TESTS += tests/fuzz/ring.test tests/fuzz/inflight.test

# Every fuzz target compiles the sources that it needs itself, with clang:
#     tests/fuzz/NAME.fuzz: tests/fuzz/NAME.c src/...c
#     	$(FUZZ_BUILD) $(filter %.c,$^) LIBRARIES
FUZZ_CFLAGS = -std=gnu11 -g -O2 -fno-strict-aliasing -fno-omit-frame-pointer \
	-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
FUZZ_BUILD = $(AM_V_GEN)$(MKDIR_P) tests/fuzz && $(FUZZ_CC) $(FUZZ_CFLAGS) \
	$(DEFS) $(DEFAULT_INCLUDES) $(AM_CPPFLAGS) $(CPPFLAGS) -o $@

if HAVE_FUZZ_CC
tests/fuzz/ring.fuzz: tests/fuzz/ring.c tests/unit/channel_fake.c \
		tests/unit/channel_fake.h $(libchannel_a_SOURCES) \
		src/host/loop.c tests/fuzz/memory.c
	$(FUZZ_BUILD) -O3 -fomit-frame-pointer \
		-fno-sanitize-coverage=trace-cmp -DFAKE_PAGES=96 $(filter %.c,$^)
tests/fuzz/ring.log: tests/fuzz/ring.fuzz
tests/fuzz/inflight.fuzz: tests/fuzz/inflight.c tests/fuzz/memory.c \
		$(libchannel_a_SOURCES) src/host/loop.c
	$(FUZZ_BUILD) $(filter %.c,$^)
tests/fuzz/inflight.log: tests/fuzz/inflight.fuzz
FUZZ_TARGETS += tests/fuzz/ring.fuzz tests/fuzz/inflight.fuzz
CLEANFILES += tests/fuzz/ring.fuzz tests/fuzz/inflight.fuzz
endif
EXTRA_DIST += tests/fuzz/memory.c tests/fuzz/ring.c tests/fuzz/corpus/ring \
	tests/fuzz/inflight.c tests/fuzz/corpus/inflight
