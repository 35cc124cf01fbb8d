#!/bin/sh
# Manual pages and --help name the same options.
O=${O:-build}
number=0
# page, arguments of kedge
same_options() {
    number=$((number + 1))
    page=$1
    shift
    "$O/kedge" "$@" --help | grep -oE -- '(^|[[ ,(])--?[a-zA-Z][a-z-]*' | tr -d ' ,([' | grep -vxE -- '--help' | sort -u >"$place/help"
    # .Fl m , -model Ar model .Fl -json  ->  -m --model --json
    sed -nE '/^\.(It |Op |Ar [^ ]+ ... \| )?Fl/{s/^\.(It|Op) //;s/^\.Ar [^ ]+ ... \| //;s/^\.//;p}' "man/$page.1" | tr ',' '\n' |
        sed -nE 's/^ *(Fl )?(-?[a-zA-Z][a-z-]*)( .*)?$/-\2/p' | grep -vxE -- '--help' | sort -u >"$place/page"
    if [ -s "man/$page.1" ] && difference=$(diff "$place/help" "$place/page"); then echo "ok $number - $page.1 and --help agree"; else
        echo "not ok $number - $page.1 and --help agree"
        printf '%s\n' "$difference" | sed 's/^/# /'
    fi
}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
same_options kedge
for command in $("$O/kedge" --help | sed -n '/^commands:/,$s/^  \([a-z]*\) .*/\1/p'); do
    same_options "kedge-$command" "$command"
done
for page in man/*.1; do
    number=$((number + 1))
    name=$(basename "$page" .1)
    if grep -q "^\.Nm $name\$" "$page" && ! grep -nE ' $' "$page"; then echo "ok $number - $page is a page"; else echo "not ok $number - $page is a page"; fi
done
