# How well files are chosen, with the past commits of a repository as questions; AIDER is a Python that has aider-chat. Writes
# tests/eval/INDEX.md of all that was measured in this build folder so far; NAME is what the repository is called there;
# KNOWN an earlier result, for what it says of aider.
.PHONY: eval-index
eval-index: all
	@test -n "$(REPO)" || { echo "make: give a repository: make eval-index REPO=path [NAME=name] [COMMITS=200] [AIDER=python]" >&2; exit 2; }
	@mkdir -p $(O)/eval-index
	@COMMITS="$(COMMITS)" AIDER="$(AIDER)" KNOWN="$(KNOWN)" tests/bench/eval_index.py $(O)/kedge "$(REPO)" "$(O)/eval-index/$(or $(NAME),$(notdir $(abspath $(REPO)))).json"
	@tests/bench/eval_index.py --table $(O)/eval-index/*.json >$(O)/eval-index.md
	@mv $(O)/eval-index.md tests/eval/INDEX.md
	@cat tests/eval/INDEX.md

# What keys and values of 8 bits cost, on texts that the model cannot know (a list as kedge eval cbr --texts takes it); writes
# tests/eval/KV.md.
.PHONY: eval-kv
eval-kv: all
	@test -n "$(TEXTS)" || { echo "make: give texts: make eval-kv TEXTS=list [MODEL=q05]" >&2; exit 2; }
	@tests/bench/eval_kv.py $(O)/kedge "$(TEXTS)" "$(or $(MODEL),q05)" >$(O)/eval-kv.json
	@tests/bench/eval_kv.py --table $(O)/eval-kv.json >$(O)/eval-kv.md
	@mv $(O)/eval-kv.md tests/eval/KV.md
	@cat tests/eval/KV.md
