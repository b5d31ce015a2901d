# An agent that waits for leave: whenever it is asked to, it reads a file that a person must let it read.
rgt approve approver deploy >/dev/null 2>/tmp/w/own.err
echo $? >/tmp/w/own
while [ ! -e /tmp/w/enough ]; do
    if [ -e /tmp/w/ask ]; then
        if read -r x </data/deploy; then came=free; else came=refused; fi
        rm /tmp/w/ask
        echo $came >/tmp/w/new
        mv /tmp/w/new /tmp/w/answer
    fi 2>/dev/null
    sleep 0.2
done
