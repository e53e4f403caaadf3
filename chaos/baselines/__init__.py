"""What a scenario set must not be solvable by: rules and classifiers that answer without investigating.

`trivial` holds rules of thumb, `learned` classifiers of rows that are trained on the train split, `measuring`
says how often each is right and whether it passes its bar. Each reads a scenario's full rows and spans, which
is more than an agent ever sees at once, and none looks at the ground truth of what it is asked about. They
are no policies: `core.policies.scripted` plays the trivial ideas through the real tools.
"""
