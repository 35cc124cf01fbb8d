# How well files are chosen, with the past commits of a repository as questions; JSON=file keeps every question's list.
.PHONY: eval-index
eval-index: all
	@test -n "$(REPO)" || { echo "make: give a repository: make eval-index REPO=path [COMMITS=200]" >&2; exit 2; }
	@COMMITS="$(COMMITS)" JSON="$(JSON)" tests/bench/eval_index.py $(O)/kedge "$(REPO)"
