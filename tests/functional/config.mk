# SPDX-License-Identifier: LGPL-2.1-or-later
dist_check_SCRIPTS += tests/functional/config_check \
	tests/functional/config_hotplug
TESTS += tests/functional/config_check tests/functional/config_hotplug
EXTRA_DIST += tests/functional/config
dist_check_SCRIPTS += tests/functional/config_reload
TESTS += tests/functional/config_reload
dist_check_SCRIPTS += tests/functional/config_last
TESTS += tests/functional/config_last
check_PROGRAMS += tests/functional/chain_load
tests_functional_chain_load_LDADD = libblktap.la
dist_check_SCRIPTS += tests/functional/chain_live
TESTS += tests/functional/chain_live
dist_check_SCRIPTS += tests/functional/chain_snapshot tests/functional/chain_commit
TESTS += tests/functional/chain_snapshot tests/functional/chain_commit
dist_check_SCRIPTS += tests/functional/resize_live
TESTS += tests/functional/resize_live
