# SPDX-License-Identifier: LGPL-2.1-or-later
# blktapctl against the real daemon, on a host without Xen.
ctl_functional = tests/functional/ctl_look tests/functional/ctl_copy \
	tests/functional/ctl_bench tests/functional/ctl_front \
	tests/functional/ctl_recover \
	tests/functional/idle_disks
dist_check_SCRIPTS += $(ctl_functional)
EXTRA_DIST += tests/functional/ctl.sh
TESTS += $(ctl_functional)

# What they use.
check_PROGRAMS += tests/functional/json_get tests/functional/front_hold
tests_functional_json_get_LDADD = $(JSON_LIBS)
tests_functional_front_hold_LDADD = libblktap.la

# Without a daemon, but with a real xenstored.
noinst_HEADERS += tests/functional/ctl_store.h
check_PROGRAMS += tests/functional/ctl_interpose tests/functional/ctl_break
TESTS += tests/functional/ctl_interpose tests/functional/ctl_break
tests_functional_ctl_interpose_SOURCES = tests/functional/ctl_interpose.c
tests_functional_ctl_interpose_CPPFLAGS = $(AM_CPPFLAGS) \
	-DXENSTORED_SHIM='"$(XENSTORED_SHIM)"'
tests_functional_ctl_interpose_LDADD = libhost.a $(HOST_LIBS)
tests_functional_ctl_break_SOURCES = tests/functional/ctl_break.c
tests_functional_ctl_break_CPPFLAGS = \
	$(tests_functional_ctl_interpose_CPPFLAGS)
tests_functional_ctl_break_LDADD = libhost.a $(HOST_LIBS)

check_PROGRAMS += tests/unit/ctl_text
TESTS += tests/unit/ctl_text
tests_unit_ctl_text_LDADD = libctl.a $(JSON_LIBS) -lm

# It includes look.c: the archive's own is then not taken.
check_PROGRAMS += tests/unit/ctl_show
TESTS += tests/unit/ctl_show
tests_unit_ctl_show_LDADD = libctl.a libwire.la $(JSON_LIBS)

# It includes act.c, and says what the daemon does.
check_PROGRAMS += tests/unit/ctl_resize
TESTS += tests/unit/ctl_resize
tests_unit_ctl_resize_LDADD = libctl.a libwire.la $(JSON_LIBS)
tests_unit_ctl_resize_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=ctl_ask \
	-Wl,--wrap=ctl_error -Wl,--wrap=ctl_dump

check_PROGRAMS += tests/unit/ctl_copy_end
TESTS += tests/unit/ctl_copy_end
tests_unit_ctl_copy_end_LDADD = libctl.a libblktap.la libwire.la $(JSON_LIBS)
