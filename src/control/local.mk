# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_HEADERS += src/control/control.h src/control/commands.h
