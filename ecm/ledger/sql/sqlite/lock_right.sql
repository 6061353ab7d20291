SELECT fence FROM rights WHERE name = :name;
