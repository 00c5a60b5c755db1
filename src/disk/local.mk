# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_HEADERS += src/disk/disk.h
noinst_LIBRARIES += libdisk.a
libdisk_a_SOURCES = src/disk/disk.c src/disk/disk_private.h \
	src/disk/disks.c src/disk/unit.c src/disk/unit.h \
	src/disk/unit_private.h src/disk/unit_show.c src/disk/head.c
