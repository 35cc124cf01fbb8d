#!/bin/sh
# make install and uninstall, and what make thinks is out of date.
number=0
check() {
    number=$((number + 1))
    name=$1
    shift
    if "$@" >"$place/said" 2>&1; then echo "ok $number - $name"; else
        echo "not ok $number - $name"
        sed 's/^/# /' "$place/said"
    fi
}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
root=$PWD

check "installs under DESTDIR and PREFIX" make -s install DESTDIR="$place/root" PREFIX=/opt/kedge
check "the installed program runs" "$place/root/opt/kedge/bin/kedge" --help
pages_are_there() {
    for page in man/*.[15]; do test -s "$place/root/opt/kedge/share/man/man${page##*.}/${page##*/}" || return 1; done
}
check "every manual page is installed" pages_are_there
check "nothing else is installed" sh -c "cd '$place/root' && ! find . -type f | grep -vE '^./opt/kedge/(bin/kedge|share/(man/man[15]|doc/kedge)/[^/]+)\$'"
check "uninstalls" make -s uninstall DESTDIR="$place/root" PREFIX=/opt/kedge
check "nothing stays behind" sh -c "! find '$place/root' -type f | grep ."

# A small tree with the same Makefile: builds in a second what shows how make decides.
mkdir -p "$place/tree/tui" "$place/tree/config" "$place/tree/engine/catalogue"
cp -r Makefile mk packages.txt base man "$place/tree/"
: >"$place/tree/config/models.conf"
echo 'int main(void) { return 0; }' >"$place/tree/tui/main.c"
cd "$place/tree" || exit 1
unset BUILD O
compiled() { make "$@" | grep -c '  cc  '; }
check "builds in parallel" make -s -j4
check "is then up to date" test "$(make -n | grep -vc 'Nothing to be done')" = 0
check "a touched header rebuilds what includes it" sh -c "sleep 0.01; touch base/digest.h; make | grep -q base/digest.c"
check "and nothing else" sh -c "sleep 0.01; touch base/digest.h; ! make | grep -q tui/main.c"
check "other flags rebuild everything" test "$(compiled CFLAGS=-O1)" = "$(find . -name '*.c' | wc -l)"
check "the same flags again rebuild nothing" test "$(compiled CFLAGS=-O1)" = 0
echo 'int kg_new(void); int kg_new(void) { return 1; }' >base/new.c
check "a new file joins its library" sh -c "make -s CFLAGS=-O1 && nm build/libkedge-base.a | grep -q kg_new"
rm base/new.c
check "a removed file leaves it" sh -c "make -s CFLAGS=-O1 && ! nm build/libkedge-base.a | grep -q kg_new"
check "debug builds lie apart" sh -c "make -s BUILD=debug && test -x build/debug/kedge && make -n CFLAGS=-O1 | grep -q 'Nothing to be done'"
check "an unknown build is refused" sh -c "! make BUILD=fast"
check "help names every target" sh -c "for word in run check check-long bench lint install uninstall clean BUILD; do make help | grep -qw -- \$word || exit 1; done"
check "cleans" sh -c "make -s clean && ! test -e build"
cd "$root" || exit 1
