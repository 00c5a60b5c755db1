# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_HEADERS += src/disk/disk.h src/disk/local.h
noinst_LIBRARIES += libdisk.a
libdisk_a_SOURCES = src/disk/disk.c src/disk/job.c src/disk/disk_private.h \
	src/disk/disks.c src/disk/tables.c src/disk/keys.c \
	src/disk/unit.c src/disk/unit.h src/disk/unit_private.h src/disk/unit_mend.c src/disk/unit_step.c \
	src/disk/unit_news.c src/disk/unit_map.c src/disk/unit_show.c src/disk/head.c \
	src/disk/local.c

include tests/unit/disk.mk
include tests/sim/fault.mk
