# SPDX-License-Identifier: LGPL-2.1-or-later
# The unit and what a system needs around it, and the configuration's files.
systemdsystemunit_DATA = systemd/blktapd.service
tmpfiles_DATA = systemd/tmpfiles.d/blktapd.conf
dist_sysusers_DATA = systemd/sysusers.d/blktapd.conf
dist_modulesload_DATA = systemd/modules-load.d/blktapd.conf
udevrulesdir = $(udevdir)/rules.d
dist_udevrules_DATA = systemd/80-blktapd.rules
# What starts xenstored: Debian's script, or the unit of Xen's own.
xendropindir = $(systemdsystemunitdir)/xen.service.d
dist_xendropin_DATA = systemd/xenstored/blktapd.conf
xenstoreddropindir = $(systemdsystemunitdir)/xenstored.service.d
dist_xenstoreddropin_DATA = systemd/xenstored/blktapd.conf
dist_xenscript_SCRIPTS = conf/block-blktapd

EXTRA_DIST += systemd/blktapd.service.in systemd/tmpfiles.d/blktapd.conf.in \
	conf/blktapd.conf
CLEANFILES += systemd/blktapd.service systemd/tmpfiles.d/blktapd.conf

fill_in_dirs = $(AM_V_GEN)$(MKDIR_P) $(@D) && \
	sed -e 's|@sbindir[@]|$(sbindir)|g' -e 's|@bindir[@]|$(bindir)|g' \
	    -e 's|@sysconfdir[@]|$(sysconfdir)|g'

systemd/blktapd.service: systemd/blktapd.service.in Makefile
	$(fill_in_dirs) $(srcdir)/systemd/blktapd.service.in >$@
systemd/tmpfiles.d/blktapd.conf: systemd/tmpfiles.d/blktapd.conf.in Makefile
	$(fill_in_dirs) $(srcdir)/systemd/tmpfiles.d/blktapd.conf.in >$@

# An administrator's file is never overwritten, nor taken away.
install-data-local:
	$(MKDIR_P) $(DESTDIR)$(sysconfdir)/blktapd.d
	test -e $(DESTDIR)$(sysconfdir)/blktapd.conf || \
	    $(INSTALL_DATA) $(srcdir)/conf/blktapd.conf \
	        $(DESTDIR)$(sysconfdir)/blktapd.conf
uninstall-local:
	! cmp -s $(srcdir)/conf/blktapd.conf \
	    $(DESTDIR)$(sysconfdir)/blktapd.conf || \
	    rm -f $(DESTDIR)$(sysconfdir)/blktapd.conf
	-rmdir $(DESTDIR)$(sysconfdir)/blktapd.d 2>/dev/null
dist_man_MANS += man/blktapd.8 man/blktapd.conf.5
