# make live ARGS="--source demo"   set up everything that is missing, then play
# make test                        set up everything that is missing, then lint, check types and test
# make test-all                    the same with the slow tests, which want SuperCollider besides
# make check                       lint and types only
# make train ARGS="--scale smoke"  train a bundle
# make clean                       remove what the targets above made (not runs/)
#
# PYTHON=/path/to/python chooses the interpreter for a new .venv.

.PHONY: live test test-all check train clean
.DEFAULT_GOAL := live

live: .venv/.ready-live
	@.venv/bin/cymatic live $(ARGS)

test: check
	@.venv/bin/pytest $(ARGS)

test-all: check
	@.venv/bin/pytest -m "" $(ARGS)

check: .venv/.ready-test
	@.venv/bin/ruff check
	@.venv/bin/mypy

train: .venv/.ready-train
	@.venv/bin/cymatic train $(ARGS)

clean:
	@rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready-%: pyproject.toml constraints-cpu.txt scripts/setup.sh
	@sh scripts/setup.sh $*
