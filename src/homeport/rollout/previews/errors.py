"""What people may ask of previews and not get, as errors."""

from homeport.kernel.errors import Kind, declare

NOT_WANTED = declare(
    "previews.not_wanted", Kind.INVALID, "The app's homeport.toml has no [previews] at that commit."
)
BAD_NAME = declare("previews.bad_name", Kind.INVALID, "What was given as a preview's name is none.")
BAD_BRANCH = declare("previews.bad_branch", Kind.INVALID, "What was given as a branch is no name of one.")
BAD_TTL = declare("previews.bad_ttl", Kind.INVALID, "A preview cannot live so long, or so shortly.")
NAME_TAKEN = declare(
    "previews.name_taken", Kind.CONFLICT, "Another branch's preview, or an environment, has the name."
)
TOO_MANY = declare("previews.too_many", Kind.CONFLICT, "The app has as many previews as it may have.")
UNKNOWN = declare("previews.unknown", Kind.NOT_FOUND, "The app has no preview of that name.")
BUSY = declare("previews.busy", Kind.CONFLICT, "The preview is just being made or taken away.", retry=True)
