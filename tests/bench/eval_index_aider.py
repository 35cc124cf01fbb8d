#!/usr/bin/env python3
"""Aider's repo map as a process, run by the Python that has aider-chat: a JSON request a line, a JSON answer a line.

{"root", "files", "question", "budgets"} -> {"ranked": files by their best tag, "maps": {budget: files named in the map}}
Names in the question are found by aider's own code; tokens are counted as eval_index.py counts them, no model is asked."""
import json
import os
import sys

from aider.coders.base_coder import Coder
from aider.repomap import RepoMap

BYTES_PER_TOKEN = 3.2


class Silent:
    def __getattr__(self, name):
        return lambda *arguments, **named: None

    def read_text(self, path, *arguments, **named):
        try:
            with open(path, encoding="utf-8") as file:
                return file.read()
        except (OSError, UnicodeError):
            return None


class Counts:
    def token_count(self, text):
        return len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN


class Asker:
    """What of a coder the finding of names looks at: a conversation without files."""
    abs_read_only_fnames = ()

    def __init__(self, files):
        self.files = files

    def get_all_relative_files(self):
        return self.files

    get_addable_relative_files = get_all_relative_files

    def get_inchat_relative_files(self):
        return []


def answer(request):
    root, files = request["root"], request["files"]
    asker = Asker(files)
    idents = Coder.get_ident_mentions(asker, request["question"])
    names = Coder.get_file_mentions(asker, request["question"]) | Coder.get_ident_filename_matches(asker, idents)
    repo_map = maps.setdefault(root, RepoMap(map_tokens=1024, root=root, main_model=Counts(), io=Silent()))
    absolute = [os.path.join(root, path) for path in files]
    tags = RepoMap.get_ranked_tags(repo_map, [], absolute, names, idents)
    repo_map.get_ranked_tags = lambda *arguments, **named: tags
    known, named = set(files), {}
    for budget in request["budgets"]:
        text = repo_map.get_ranked_tags_map_uncached([], absolute, budget, names, idents) or ""
        named[budget] = [line.rstrip(":") for line in text.splitlines() if line.rstrip(":") in known]
    return {"ranked": list(dict.fromkeys(tag[0] for tag in tags))[:request["listed"]], "maps": named}


maps = {}
out, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), file=out, flush=True)
