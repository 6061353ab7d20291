SELECT fence FROM rights WHERE name = %(name)s FOR SHARE;
