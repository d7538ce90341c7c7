# Editors and programs that edit in place, by whatever way they replace a file.

load lib

documents() {
	both <<-'END'
		for i in 1 2 3 42; do
			printf '{"id":%d,"city":"Berlin","tags":["a","b"]}\n' $i > $i
		done
	END
}

@test "sed -i on one and on all documents, with and without a backup" {
	documents
	both "sed -i 's/Berlin/Bonn/' 42; cat 42; sed -i 's/Berlin/Paris/' *; cat *; ls"
	both "sed -i.bak 's/Paris/Rome/' 1; cat 1 1.bak; ls"
	both "sed -i -e '\$a more' -e 1d 2; cat 2"
	same_for_good
}

@test "sed -i keeps the mode" {
	documents
	both "chmod 640 42; sed -i s/Berlin/Bonn/ 42; stat -c %a 42"
	same_for_good
}

@test "perl -i, with and without a backup" {
	documents
	both <<-'END'
		perl -pi -e 's/Berlin/Bonn/' 1 2
		cat 1 2
		perl -i~ -pe 's/Berlin/Oslo/' 42
		cat 42 42~
		ls -A
	END
	same_for_good
}

@test "vim -es writes, makes a swap file and a backup" {
	documents
	both "vim -u NONE -es -c 's/Berlin/Bonn/' -c wq 42 < /dev/null; cat 42; ls -A"
	both <<-'END'
		vim -u NONE -es -c 'set backup backupcopy=no' -c 's/Berlin/Rome/' -c wq 1 < /dev/null
		cat 1
		ls -A
	END
	both <<-'END'
		vim -u NONE -es -c 'set backup backupcopy=yes' -c 's/Berlin/Nice/' -c wq 2 < /dev/null
		cat 2
		ls -A
	END
	both <<-'END'
		vim -u NONE -es -c 'set nowritebackup' -c 's/Berlin/Kiel/' -c wq 3 < /dev/null
		cat 3
		ls -A
	END
	both "vim -u NONE -es -c 'call setline(1, \"new\")' -c wq 5 < /dev/null; cat 5"
	same_for_good
}

@test "vim keeps a swap file beside a document that is open, and recovers from it" {
	documents
	# Ends vim while its swap file lies there.
	cat >"$T/edit" <<-'END'
		vim -u NONE -es -c 's/Berlin/Bonn/' -c preserve -c 'silent !kill -9 $PPID' 42 \
			< /dev/null > /dev/null 2>&1
		exit 0
	END
	both "bash ../edit 2> /dev/null; ls -A; cat 42"
	[[ -e $M/.42.swp ]]
	remount
	[[ -s $M/.42.swp ]]
	(cd "$M" && vim -u NONE -es -r -c 'w! recovered' -c 'q!' 42 </dev/null)
	[[ $(cat "$M/recovered") == *Bonn* ]]
}

@test "nano-style .42.swp and 42~: lock file, backup by copy, writing over the original" {
	documents
	both <<-'END'
		printf 'b0nano %d' 7 > .42.swp
		cp -p 42 42~
		printf '{"city":"Bonn"}\n' > 42
		rm .42.swp
		cat 42 42~
		ls -A
	END
	same_for_good
}

@test "emacs-style: rename to a backup, then write the name anew" {
	documents
	both <<-'END'
		mv 42 42~
		printf '{"city":"Bonn"}\n' > 42
		chmod --reference=42~ 42
		printf x > '#42#'
		rm '#42#'
		cat 42 42~
		ls -A
	END
	same_for_good
}

@test "ed-like tools: sponge by shell, ex, awk -i inplace by hand, sort -o, dos2unix by tr" {
	documents
	both "seq 9 -1 1 > 9; sort -o 9 9; cat 9"
	both "v=\$(jq -c '.price = 10' 42) && printf '%s' \"\$v\" > 42; cat 42"
	both <<-'END'
		awk '{ gsub(/Berlin/, "Bonn"); print }' 1 > .tmp.1 && cat .tmp.1 > 1 && rm .tmp.1
		cat 1
	END
	both "ex -u NONE -s 2 <<< \$'%s/Berlin/Bonn/\nx'; cat 2; ls -A"
	same_for_good
}

@test "git apply and patch change documents in place" {
	documents
	both <<-'END'
		printf '%s\n' '--- a/42' '+++ b/42' '@@ -1 +1 @@' \
			'-{"id":42,"city":"Berlin","tags":["a","b"]}' '+{"id":42}' > ../change
		patch -p1 < ../change
		cat 42
	END
	same_for_good
}
