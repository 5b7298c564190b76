#!/bin/sh
# Makes the databases of real applications that the tests read: Plone, Zope and the
# Zope Toolkit, from PyPI.
#
#   interop/realdata/make.sh var/realdata
#   ZARI_REALDATA=$PWD/var/realdata go test -v -run RealData ./interop
#
# It installs several hundred packages into virtual environments below the directory
# and takes some minutes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd)
: "${PYTHON:=python3}"

# install NAME PACKAGE... makes an environment.
install() {
	name=$1
	shift
	[ -x "$dir/venv-$name/bin/python" ] || "$PYTHON" -m venv "$dir/venv-$name"
	"$dir/venv-$name/bin/python" -m pip install -q "$@"
}

# run NAME makes a database in that environment, unless it is there.
run() {
	[ -e "$dir/$1/done" ] && return
	rm -rf "${dir:?}/$1"
	mkdir "$dir/$1"
	"$dir/venv-$1/bin/python" "$here/$1_site.py" "$dir/$1"
	touch "$dir/$1/done"
}

install toolkit ZODB==6.4 zope.annotation==6.0 zope.catalog zope.container zope.dublincore \
	zope.intid zope.keyreference zope.password zope.pluggableauth zope.session zope.site
run toolkit

install zope Zope==6.3 Products.BTreeFolder2 Products.MailHost Products.PluggableAuthService \
	Products.PythonScripts Products.ZCatalog
run zope

install plone Plone==6.2.2
# What pip chooses for it is of a later Plone.
install plone --no-deps plone.app.layout==6.0.2
run plone
