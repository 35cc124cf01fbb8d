#!/bin/sh
# make install and uninstall, and what make thinks is out of date.
. "$(dirname "$0")/../tap.sh"
root=$PWD

succeeds "installs under DESTDIR and PREFIX" make -s install DESTDIR="$dir/root" PREFIX=/opt/kedge
succeeds "the installed program runs" "$dir/root/opt/kedge/bin/kedge" --help
pages_are_there() {
    for page in man/*.[15]; do test -s "$dir/root/opt/kedge/share/man/man${page##*.}/${page##*/}" || return 1; done
}
succeeds "every manual page is installed" pages_are_there
succeeds "nothing else is installed" sh -c "cd '$dir/root' && ! find . -type f | grep -vE '^./opt/kedge/(bin/kedge|share/(man/man[15]|doc/kedge)/[^/]+)\$'"
succeeds "uninstalls" make -s uninstall DESTDIR="$dir/root" PREFIX=/opt/kedge
succeeds "nothing stays behind" sh -c "! find '$dir/root' -type f | grep ."

# A small tree with the same Makefile: builds in a second what shows how make decides.
mkdir -p "$dir/tree/tui" "$dir/tree/config" "$dir/tree/engine/catalogue"
cp -r Makefile mk packages.txt base man "$dir/tree/"
: >"$dir/tree/config/models.conf"
echo 'int main(void) { return 0; }' >"$dir/tree/tui/main.c"
cd "$dir/tree" || exit 1
unset BUILD O
compiled() { make "$@" | grep -c '  cc  '; }
succeeds "builds in parallel" make -s -j4
succeeds "is then up to date" test "$(make -n | grep -vc 'Nothing to be done')" = 0
succeeds "a touched header rebuilds what includes it" sh -c "sleep 0.01; touch base/digest.h; make | grep -q base/digest.c"
succeeds "and nothing else" sh -c "sleep 0.01; touch base/digest.h; ! make | grep -q tui/main.c"
succeeds "other flags rebuild everything" test "$(compiled CFLAGS=-O1)" = "$(find . -name '*.c' | wc -l)"
succeeds "the same flags again rebuild nothing" test "$(compiled CFLAGS=-O1)" = 0
echo 'int kg_new(void); int kg_new(void) { return 1; }' >base/new.c
succeeds "a new file joins its library" sh -c "make -s CFLAGS=-O1 && nm build/libkedge-base.a | grep -q kg_new"
rm base/new.c
succeeds "a removed file leaves it" sh -c "make -s CFLAGS=-O1 && ! nm build/libkedge-base.a | grep -q kg_new"
succeeds "debug builds lie apart" sh -c "make -s BUILD=debug && test -x build/debug/kedge && make -n CFLAGS=-O1 | grep -q 'Nothing to be done'"
succeeds "an unknown build is refused" sh -c "! make BUILD=fast"
succeeds "help names every target" sh -c "for word in run check check-long bench lint install uninstall clean BUILD; do make help | grep -qw -- \$word || exit 1; done"
succeeds "cleans" sh -c "make -s clean && ! test -e build"
cd "$root" || exit 1
