"""
Web pages and REST API of the main instance.

`census` asks the coordinators for all workers, at most twice a second however many browsers look. `documents` turns the
answer into what ``GET /api/v2/workers`` says: the keys of Dagu 1.30.2, and the snake_case keys of its published guide besides.
`routes` has the routes, `answers` the forms of answers; `front` stands before them and sees to what holds for every request:
base path, trailing slashes, security headers. `assets` holds templates, style, scripts and icon in memory. `listening` opens
the port and knows what to say when it is taken; `service` starts and stops it all and tells the registry where the pages are.

The page itself is one template, one style sheet and three small ES modules, without a build step and without anything from
elsewhere; it is sent with the current workers in it and then asks the API once a second.
"""
