/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * medium.h: the disk of a guest in a run: its chain, the files behind it, and
 * what these hold as a guest would read it, found out without the plugins.
 */
#ifndef TESTS_SIM_DAEMON_MEDIUM_H
#define TESTS_SIM_DAEMON_MEDIUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/qcow2_image.h"

struct run;

enum medium_tail { TAIL_FILE, TAIL_MEMORY, TAIL_PEER, TAIL_NBD, TAIL_IMAGE };
/* Of an image: alone, over a file, with its data in a file, or one that goes
 * with the attachment, over a file. */
enum medium_image { IMAGE_ALONE, IMAGE_OVER, IMAGE_APART, IMAGE_FLEETING };
enum medium_crypt { CRYPT_NONE, CRYPT_ABOVE, CRYPT_BELOW };

struct medium {
    enum medium_tail tail;
    enum medium_image image;
    bool encrypted;          /* an image that goes, by its own key */
    enum medium_crypt crypt; /* over all of the tail, or below the image */
    struct image_format format;
    bool traced;     /* to a file */
    bool limited;    /* in requests and bytes a second */
    bool grouped;    /* together with others */
    bool failing;    /* a layer makes requests fail */
    bool fatal;      /* and the disk with it */
    bool resizes;    /* it may grow */
    char file[16];   /* "": memory */
    char base[16];   /* below an image; "": nothing */
    char data[16];   /* its data; "": in itself */
    uint64_t based;  /* sectors of base, each with a stamp */
    uint32_t number; /* of its guest: whose stamps */
    char error[96];
};

/* By the dice, before there are files. */
void medium_dice(struct run *, unsigned disk);
/* Layers, as a configuration has them; the even numbers differ from the odd. */
size_t medium_chain(const struct run *, unsigned disk, unsigned number,
                    char *text, size_t room);
/* Its files.  The sectors that it has, of those that were asked for. */
uint64_t medium_make(struct run *, unsigned disk, uint64_t sectors);
/* What goes wrong with them, beside what goes wrong with all files. */
void medium_faults(struct run *, unsigned disk);
/* All of it is over with the attachment. */
bool medium_goes(const struct medium *);
/* A guest's disk becomes larger, or is asked to. */
void medium_grow(struct run *, unsigned disk);
/* What its files hold is a part of its guest's history; nothing serves them.
 * 0, or -1 with a sentence. */
int medium_look(struct run *, unsigned disk, char *why, size_t n);
/* The news of a failed sync may have died with the daemon, just now. */
bool medium_untold(struct run *, unsigned disk);

#endif
