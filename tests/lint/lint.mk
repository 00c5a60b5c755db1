# SPDX-License-Identifier: LGPL-2.1-or-later
dist_check_SCRIPTS += tests/lint/spdx tests/lint/format tests/lint/size \
	tests/lint/workplace tests/lint/systemd-score tests/lint/mistakes
TESTS += tests/lint/spdx tests/lint/format tests/lint/size \
	tests/lint/workplace tests/lint/systemd-score tests/lint/mistakes
EXTRA_DIST += tests/lint/files.sh
