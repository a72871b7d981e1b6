# git at work in the current directory.
set -eu
git init -q -b main origin
cd origin
echo one > file
git add file
git -c commit.gpgsign=false commit -q -m "first"
echo two >> file
mkdir folder
ln -s ../file folder/link
git add -A
git commit -q -m "second"
git worktree add -q ../tree -b side
(cd ../tree && echo side > side && git add side && git commit -q -m "on the side")
echo main > main
git add main
git commit -q -m "on main"
git merge -q --no-edit side
git gc -q
git fsck --no-progress
cd ..
git clone -q origin copy
cd copy
git fetch -q
git stash list
git log --format=%s
git diff --stat HEAD~1 | tail -1
git status --short --branch
git grep -c two
