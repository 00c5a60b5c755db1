# SPDX-License-Identifier: LGPL-2.1-or-later
# Plugins: each one a module, and all of them a static library for simulation
# and fuzzing, but nbd, whose sockets are its library's.  All modules are built into one folder, plugins/.libs, so that
# BLKTAPD_PLUGINDIR can point there before anything is installed.
PLUGIN_LDFLAGS = -module -avoid-version -shared \
	-export-symbols-regex '^blk_plugin$$' $(AM_LDFLAGS)

plugin_LTLIBRARIES += plugins/delay.la plugins/error.la plugins/file.la \
	plugins/limit.la \
	plugins/memory.la plugins/nbd.la plugins/null.la plugins/trace.la \
	plugins/qcow2.la plugins/vbd.la

match_sources = plugins/common/match.c plugins/common/match.h
# Those that encrypt.
sealer_headers = plugins/common/sealer.h plugins/common/xts.h \
	plugins/common/secret.h
if HAVE_CRYPT
sealer_sources = plugins/common/sealer.c plugins/common/xts.c \
	plugins/common/secret.c $(sealer_headers)
else
sealer_sources = $(sealer_headers)
endif
delay_sources = plugins/delay/delay.c
error_sources = plugins/error/error.c
file_sources = plugins/file/file.c plugins/file/file_io.c plugins/file/file.h
limit_sources = plugins/limit/limit.c plugins/limit/share.c \
	plugins/limit/share.h plugins/limit/bucket.c plugins/limit/bucket.h
memory_sources = plugins/memory/memory.c
nbd_sources = plugins/nbd/nbd.c plugins/nbd/nbd.h plugins/nbd/connect.c \
	plugins/nbd/link.c plugins/nbd/cmd.c plugins/nbd/kept.c \
	plugins/nbd/kept.h plugins/nbd/latest.c plugins/nbd/latest.h \
	plugins/nbd/cross.c plugins/nbd/status.c
null_sources = plugins/null/null.c
qcow2_sources = plugins/qcow2/qcow2.c plugins/qcow2/qcow2.h \
	plugins/qcow2/image.h plugins/qcow2/sealed.c plugins/qcow2/sealed.h \
	$(sealer_sources) \
	plugins/qcow2/format.h plugins/qcow2/wait.h plugins/qcow2/header.c plugins/qcow2/lock.c \
	plugins/qcow2/image.c plugins/qcow2/cache.c plugins/qcow2/map.c \
	plugins/qcow2/alloc.c plugins/qcow2/free.c plugins/qcow2/grow.c \
	plugins/qcow2/commit.c plugins/qcow2/resize.c \
	plugins/qcow2/fold.c plugins/qcow2/fold_ask.c plugins/qcow2/fold.h \
	plugins/qcow2/fetch.c plugins/qcow2/unpack.c plugins/qcow2/write.c \
	plugins/qcow2/range.c plugins/qcow2/rw.c plugins/qcow2/status.c plugins/qcow2/pause.c \
	plugins/qcow2/mend.c plugins/qcow2/open.c plugins/qcow2/tables.c \
	plugins/qcow2/ephemeral.c plugins/qcow2/blank.c plugins/qcow2/data.c \
	plugins/qcow2/corrupt.c \
	plugins/qcow2/overlay.c plugins/qcow2/overlay.h
vbd_sources = plugins/vbd/vbd.c
trace_sources = plugins/trace/trace.c plugins/trace/writer.c \
	plugins/trace/writer.h

plugins_delay_la_SOURCES = $(delay_sources) $(match_sources)
plugins_delay_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_error_la_SOURCES = $(error_sources) $(match_sources)
plugins_error_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_file_la_SOURCES = $(file_sources)
plugins_file_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_limit_la_SOURCES = $(limit_sources)
plugins_limit_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_memory_la_SOURCES = $(memory_sources)
plugins_memory_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_nbd_la_SOURCES = $(nbd_sources)
plugins_nbd_la_CPPFLAGS = $(AM_CPPFLAGS) $(NBD_CFLAGS)
plugins_nbd_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_nbd_la_LIBADD = $(NBD_LIBS)
plugins_null_la_SOURCES = $(null_sources)
plugins_null_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_qcow2_la_SOURCES = $(qcow2_sources)
# blank.c is the daemon's, too.
plugins_qcow2_la_CPPFLAGS = $(AM_CPPFLAGS)
plugins_qcow2_la_CFLAGS = $(CRYPTO_CFLAGS) $(AM_CFLAGS)
plugins_qcow2_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_qcow2_la_LIBADD = $(ZLIB_LIBS) $(ZSTD_LIBS) $(CRYPTO_LIBS)
plugins_trace_la_SOURCES = $(trace_sources) $(match_sources)
plugins_trace_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_vbd_la_SOURCES = $(vbd_sources)
plugins_vbd_la_LDFLAGS = $(PLUGIN_LDFLAGS)

# On libraries that no other program of ours needs: so not in the static one.
crypt_sources = plugins/crypt/crypt.c plugins/crypt/crypt.h \
	plugins/crypt/crypt_io.c plugins/crypt/crypt_open.c \
	plugins/crypt/luks.c plugins/crypt/luks.h plugins/crypt/key.c \
	plugins/crypt/key.h $(sealer_sources)
if HAVE_CRYPT
plugin_LTLIBRARIES += plugins/crypt.la
plugins_crypt_la_SOURCES = $(crypt_sources)
plugins_crypt_la_CFLAGS = $(CRYPT_CFLAGS) $(AM_CFLAGS)
plugins_crypt_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_crypt_la_LIBADD = $(CRYPT_LIBS)
dist_man_MANS += plugins/crypt/blktap-crypt.7
endif

noinst_LIBRARIES += plugins/libplugins_static.a
plugins_libplugins_static_a_SOURCES = plugins/static.c $(match_sources) \
	$(delay_sources) $(error_sources) $(file_sources) $(limit_sources) $(memory_sources) \
	$(null_sources) $(trace_sources)
plugins_libplugins_static_a_CPPFLAGS = $(AM_CPPFLAGS) -DBLK_STATIC

dist_man_MANS += plugins/delay/blktap-delay.7 plugins/error/blktap-error.7 \
	plugins/file/blktap-file.7 plugins/memory/blktap-memory.7 \
	plugins/limit/blktap-limit.7 plugins/nbd/blktap-nbd.7 \
	plugins/null/blktap-null.7 \
	plugins/qcow2/blktap-qcow2.7 plugins/trace/blktap-trace.7 \
	plugins/vbd/blktap-vbd.7

include tests/unit/plugin.mk
include tests/unit/qcow2.mk
include tests/unit/crypt.mk
