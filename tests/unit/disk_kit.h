/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * disk_kit.h: what the tests of src/disk share: a config of one disk, an owner
 * that writes down what it is told, and the way to a connected disk.
 */
#ifndef TESTS_UNIT_DISK_KIT_H
#define TESTS_UNIT_DISK_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "disk/disk_private.h"
#include "tests/test.h"
#include "tests/unit/disk_fakes.h"

extern struct conf_disk cd, cd2;
extern struct conf conf, conf2;
extern const struct disk_front front;
extern const struct disk_owner owner;
extern struct loop *loops[1];
extern struct sweep *sweeps[1];
extern struct disks *disks;

/* Everything that is told, a letter each: o opened, c connected, d
 * disconnected, x closed, p a step (each with ! when it failed); r resized, f
 * failed, s stopped, m recovered, R reconnect.  The last reason. */
extern char trail[256], sentence[256];
void tell(char letter, int status, const char *why);

void opened(void *, struct disk *, int status, const char *why);
void connected(void *, struct disk *, int status, const char *why);
void disconnected(void *, struct disk *, int status, const char *why);
void closed(void *, struct disk *, int status, const char *why);
void stepped(void *, struct disk *, int status, const char *why);

void setup(void);
struct disk *open_disk(void);
struct disk *connect_disk(void);
/* Closes, and sees that nothing is left. */
void teardown(struct disk *);

#endif
