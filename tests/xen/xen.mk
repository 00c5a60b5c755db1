# SPDX-License-Identifier: LGPL-2.1-or-later
dist_check_SCRIPTS += tests/functional/lab_check tests/functional/figure4
TESTS += tests/functional/lab_check tests/functional/figure4
EXTRA_DIST += tests/bench/figure4 tests/bench/figure4.awk doc/figure4.figures \
	doc/figure4.svg
