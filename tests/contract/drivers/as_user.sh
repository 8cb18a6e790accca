#!/bin/sh
# Runs a program as nobody, who has no right to anything; where that cannot be, says so and passes.
#   as_user.sh PROGRAM [ARGUMENT...]
as_nobody="setpriv --reuid 65534 --regid 65534 --clear-groups"
if [ "$(id -u)" -ne 0 ]; then
  echo "SKIPPED: only root can become another user, and the other tests ran as this one"
  exit 0
fi
if ! $as_nobody test -x "$1"; then
  echo "SKIPPED: $1 is in a folder that other users cannot enter"
  exit 0
fi
exec $as_nobody "$@"
