# SPDX-License-Identifier: LGPL-2.1-or-later
dist_check_SCRIPTS += tests/functional/lab_check
TESTS += tests/functional/lab_check
