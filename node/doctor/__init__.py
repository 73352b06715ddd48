"""`tutti doctor`: what is wrong with a node and how to mend it, in lines that can be pasted where others read them."""
