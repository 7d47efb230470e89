#!/bin/sh
# base.sh: take out of the base image what only building needs: pip and its kin, package caches, documentation, and
# what Python brings for its own development. Works for Debian's Python and for the one in the official images.
set -eu
rm -rf /usr/lib/python3/dist-packages /usr/share/python-wheels /usr/local/include /root/.cache /etc/pip.conf
for library in /usr/lib/python3.* /usr/local/lib/python3.*; do
    rm -rf "$library"/site-packages/* "$library"/test "$library"/ensurepip "$library"/idlelib "$library"/tkinter \
        "$library"/turtledemo "$library"/lib2to3 "$library"/config-* "$library"/pydoc_data
done
rm -rf /usr/local/bin/pip* /usr/bin/pip* /usr/local/bin/idle* /usr/local/bin/2to3* /usr/local/bin/*-config \
    /usr/share/doc /usr/share/man /usr/share/locale /usr/share/info /usr/share/lintian /usr/share/perl5 \
    /usr/share/polkit-1 /usr/share/pixmaps /usr/share/menu /var/cache /var/log /var/lib/apt /tmp/* /var/tmp/*
mkdir -p /var/cache /var/log /var/lib/mainstem
echo 'mainstem:x:10001:10001:Mainstem:/var/lib/mainstem:/usr/sbin/nologin' >>/etc/passwd
echo 'mainstem:x:10001:' >>/etc/group
chown 10001:10001 /var/lib/mainstem
