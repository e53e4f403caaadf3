"""Why did it fail? Failed episodes, rollouts, training jobs and CI runs are analysed, stored, grouped and
counted.

Everything starts at `python -m failure_analysis --help`. `LogAnalyzer` explains one failure;
`failure_analysis.store` keeps what was found in `failures.db` and is what a page or an API reads.
"""
