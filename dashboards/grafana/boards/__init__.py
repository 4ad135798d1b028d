"""The dashboards, one a module: `overview`, `workers`, `controller`.

`frame` is what every board has (variables, annotations, links), `panels` the few kinds of panel they are made of and
`promql` the expressions that would otherwise be written out again and again.
"""
