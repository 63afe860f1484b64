"""
Looking for what is wrong between us and coordinators (``dagu doctor peer``).

`own_side` judges our settings and files, `registered` finds whom to examine, `steps` examines one coordinator from its name to
its calls: `judgement` says what replies to a greeting mean, `conversation` calls as clients do. `reach` joins it all with a
reactor. Findings are values of `txdagu.model.findings`.
"""
