"""
The same DAG files through two programs: the released Dagu 1.30.2 and this one.

`cases` reads the files with what their comments say of them, `programs` runs them in both programs, `ours` is the process in
which all of them run here, `observation` tells what a run left behind in words that can be compared, `comparison` compares, and
`verdicts` says what is to be said of it.
"""
