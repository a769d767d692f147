# make run    everything on this machine, with a demo to sign in to: http://localhost:8000 (PORT=8123 make run)
# make test   all that the project checks
PYTHON_IN_VENV := .venv/bin/python
UV ?= uv
LOCK := $(UV) pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--constraint requirements/weaknesses.in \
	--no-header --no-emit-index-url --no-emit-find-links --quiet $(LOCKFLAGS)
WEAKNESSES := requirements/weaknesses.in
# Today, after one of its two lines.
NOTE = sed -i "s/^\# $(1): .*/\# $(1): $$(date -u +%F)/" $(WEAKNESSES)

.PHONY: run test check format migrate lock audit erase clean venv
.DEFAULT_GOAL := run

run: venv ## Start everything, until Ctrl-C
	@exec $(PYTHON_IN_VENV) -m dev.run

test: check ## Everything: the checks below, then the tests
	$(PYTHON_IN_VENV) -m pytest -n 2 --dist worksteal $(PYTESTFLAGS)

check: venv ## Format, lint, types, import contracts, missing migrations
	$(PYTHON_IN_VENV) -m ruff format --check --quiet .
	$(PYTHON_IN_VENV) -m ruff check --quiet .
	$(PYTHON_IN_VENV) -m mypy .
	.venv/bin/lint-imports
	$(PYTHON_IN_VENV) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run

format: venv ## Put the code into the project's format
	$(PYTHON_IN_VENV) -m ruff format .
	$(PYTHON_IN_VENV) -m ruff check --fix .

migrate: venv ## Bring the database of a running `make run` up to date
	$(PYTHON_IN_VENV) manage.py migrate

lock: ## Write requirements/*.txt anew from pyproject.toml (LOCKFLAGS=--upgrade for newer versions)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/"; exit 1; }
	$(LOCK) -o requirements/base.txt
	$(LOCK) --constraint requirements/base.txt --extra services --extra dev -o requirements/dev.txt
	$(if $(filter --upgrade,$(LOCKFLAGS)),$(call NOTE,brought up to date))

audit: ## Ask whether a weakness of a locked package has become known (asks the network), and write the day down
	$(UV) tool run pip-audit --disable-pip --require-hashes -r requirements/dev.txt \
		$$(sed -n 's/^# open: //p' $(WEAKNESSES) | grep -oE '(PYSEC|GHSA|CVE)-[0-9A-Za-z-]+' | sed 's/^/--ignore-vuln /')
	$(call NOTE,looked through)

erase: venv ## Forget the data of make run
	$(PYTHON_IN_VENV) -m dev.services erase

clean: ## Remove what the other commands made, save the data of make run
	rm -rf .venv staticfiles test-artifacts .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@dev/venv.sh
