# SPDX-License-Identifier: LGPL-2.1-or-later
lib_LTLIBRARIES += libblktap.la
noinst_LTLIBRARIES += libwire.la libringclient.la
noinst_HEADERS += lib/private.h lib/wire.h lib/pages.h lib/ring_client.h
EXTRA_DIST += lib/libblktap.map lib/blktap.pc.in

# The client's end of the control socket: also blktapctl's.
libwire_la_SOURCES = lib/wire.c
libwire_la_LIBADD = $(JSON_LIBS)

# The front-end's end of a ring.
libringclient_la_SOURCES = lib/ring_client.c

libblktap_la_SOURCES = lib/app.c lib/open.c lib/pages.c
libblktap_la_CFLAGS = $(AM_CFLAGS) -fvisibility=default
libblktap_la_LIBADD = libwire.la libringclient.la $(JSON_LIBS)
libblktap_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 -no-undefined \
	-Wl,--version-script=$(top_srcdir)/lib/libblktap.map
EXTRA_libblktap_la_DEPENDENCIES = lib/libblktap.map

pkgconfigdir = $(libdir)/pkgconfig
nodist_pkgconfig_DATA = lib/blktap.pc
CLEANFILES += lib/blktap.pc
lib/blktap.pc: lib/blktap.pc.in Makefile
	$(AM_V_GEN)$(MKDIR_P) lib && sed \
	    -e 's|@prefix[@]|$(prefix)|' -e 's|@exec_prefix[@]|$(exec_prefix)|' \
	    -e 's|@libdir[@]|$(libdir)|' -e 's|@includedir[@]|$(includedir)|' \
	    -e 's|@PACKAGE_VERSION[@]|$(PACKAGE_VERSION)|' \
	    $(top_srcdir)/lib/blktap.pc.in >$@

include tests/unit/lib.mk
